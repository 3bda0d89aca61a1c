"""What a model may do: declarations, registry, policy and the tool families."""
