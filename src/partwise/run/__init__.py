"""A command's run: arguments, config, folder, training, stages and the report at its end."""
