"""The compute command, one file a verb."""
