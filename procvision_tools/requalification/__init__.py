"""Old against new on an archive: what a version would have said of everything that was seen before it goes live."""
