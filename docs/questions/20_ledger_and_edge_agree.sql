-- Do edges' answers to chats and the ledger's charges agree, day by day? (A call that crosses midnight is answered on one day and charged on the next.)
SELECT day, sum(answered) AS answered_by_edges, sum(charged) AS charged_by_the_ledger, answered_by_edges - charged_by_the_ledger AS difference
FROM
(
    SELECT day, calls AS answered, 0 AS charged FROM requests_daily WHERE route = 'chat' AND status = 200
    UNION ALL
    SELECT day, 0 AS answered, calls AS charged FROM charges_daily WHERE provider NOT IN (SELECT provider FROM tasks)
)
GROUP BY day
ORDER BY day DESC
LIMIT 10
