"""Analytics on a month of made-up calls: how long the questions of docs/analytics.md take, and what they answer."""
