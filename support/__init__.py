"""Everything around the lesson: files, data sets, training runs, pictures."""
