"""The only place that touches the hooks of Ray Tune."""
