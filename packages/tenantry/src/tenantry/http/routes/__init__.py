"""The platform's doors, by what lies behind them: people, tenants, the audit trail, the server itself."""
