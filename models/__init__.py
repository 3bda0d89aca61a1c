"""The minds: which models there are, how one is opened, and the offline pair."""
