"""Public files: results of media tasks and source images, in a folder or an object store."""
