-- Why are calls refused?
SELECT status, code, sum(r.calls) AS calls, round(100 * calls / sum(calls) OVER (), 2) AS percent_of_refusals,
       uniqExact(account_id) AS accounts
FROM requests_daily AS r
WHERE status >= 400
GROUP BY status, code
ORDER BY calls DESC
