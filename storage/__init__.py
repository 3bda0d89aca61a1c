"""What is kept on disk: checkpoints, memories, long results."""
