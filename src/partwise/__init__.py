"""Human parsing in video: models, ops and metrics of five papers."""
