"""sweeper: which loss trains this network best, once every loss has had its own fair share of tuning?"""

__version__ = "0.1.0"
