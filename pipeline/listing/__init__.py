"""Ask the runs: columns of a row, conditions on them, order, and which runs were made from a file."""
