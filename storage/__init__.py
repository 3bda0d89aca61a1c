"""What is stored on disk: checkpoints, memories, long results."""
