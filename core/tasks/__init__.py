"""The life of a media task: admitted, begun once, followed to its end, settled, its results kept, its customer told."""
