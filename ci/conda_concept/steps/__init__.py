"""One step a file: glue that takes its edges as arguments."""
