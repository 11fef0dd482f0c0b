"""KieAI as the sandbox plays it: tasks that take their time, results that die, and HTTP 200 that carries failures."""
