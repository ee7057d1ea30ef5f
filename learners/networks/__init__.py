"""Networks: torsos, recurrent cores, and the agent that joins them to a policy and a value head."""
