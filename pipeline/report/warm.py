"""Imported by the process that workers are forked from: everything that a report needs, so that it is imported once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet
import yaml

from pipeline.backtest import analysis, bootstrap, metrics, sensitivity, significance
from pipeline.evidence import verify
from pipeline.report import page, pandoc, quarto, render, selfcontained
from pipeline.report.sections import failure, performance, provenance, risk, summary, trades, trust
from pipeline.report.sections import sensitivity as variations

MODULES = (
    np, pd, pyarrow.parquet, yaml, analysis, bootstrap, metrics, sensitivity, significance, verify, page, pandoc,
    quarto, render, selfcontained, failure, performance, provenance, risk, variations, summary, trades, trust,
)  # fmt: skip
