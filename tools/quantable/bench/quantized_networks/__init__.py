"""Networks that other tools quantized: imported, run, written again, compared."""
