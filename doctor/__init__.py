"""What finds and mends damage, and deletes what is done."""
