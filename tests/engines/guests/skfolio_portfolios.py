"""A portfolio with costs, a walk-forward and a population with skfolio."""

import numpy as np
from common import facts, prices, tell
from skfolio import Population, Portfolio
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.optimization import EqualWeighted

moves = prices(("AAA", "BBB", "CCC")).pct_change().dropna()
plain = Portfolio(moves, weights=[0.2, 0.3, 0.5], transaction_costs=0.0001, name="mine", compounded=True)
walked = cross_val_predict(EqualWeighted(), moves, cv=WalkForward(train_size=60, test_size=40))
added = Portfolio(moves, weights=[0.2, 0.799997, 3e-6], transaction_costs=0.0001, name="added")


def own(portfolio):
    return {
        "returns": np.asarray(portfolio.returns).tolist(),
        "annual_volatility": float(portfolio.annualized_standard_deviation),
        "sharpe": float(portfolio.annualized_sharpe_ratio),
        "max_drawdown": -float(portfolio.max_drawdown),
    }


tell(
    facts(plain, 252.0),
    own(plain),
    walked={"ours": facts(walked, 252.0), "own": own(walked)},
    added={"ours": facts(Population([plain, added]), 252.0, column="added"), "own": own(added)},
)
