"""What everything stands on: errors, settings, redaction, texts, processes."""
