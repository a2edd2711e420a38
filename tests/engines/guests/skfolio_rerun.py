"""A walk-forward of skfolio made again, whose last window is dropped when short; a model fitted on all returns."""

from common import prices, verdict, write
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.optimization import InverseVolatility


def walked(closes):
    return cross_val_predict(InverseVolatility(), returns(closes), cv=WalkForward(train_size=60, test_size=20))


def fitted_on_all(closes):
    return InverseVolatility().fit(returns(closes)).predict(returns(closes))


def returns(closes):
    return closes.pct_change().dropna()


closes = prices(("AAA", "BBB", "CCC"))
write({function.__name__: verdict(function, closes) for function in (walked, fitted_on_all)})
