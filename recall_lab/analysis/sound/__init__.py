"""Numbers out of samples on the true time axis: spectra, levels, loudness, speech."""
