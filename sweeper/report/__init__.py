"""From a stored sweep to tables, statistics, plots and pages. Knows no torch and no Ray."""
