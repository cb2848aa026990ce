"""Data, model, losses, optimiser and the engine that trains packs of members. Knows no Ray, Optuna, click or Parquet."""
