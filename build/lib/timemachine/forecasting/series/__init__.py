"""Time series: the noisy sine, and CSV files of your own."""
