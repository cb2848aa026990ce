"""YAML in, validated space out, Optuna distributions from it."""
