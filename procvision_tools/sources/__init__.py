"""Where pictures come from: files, a followed folder, a camera."""
