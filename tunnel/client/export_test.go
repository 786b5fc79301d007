package client

// Unexported names for the external tests.
const (
	MaxExcerpt     = maxExcerpt
	MaxLoginRounds = maxLoginRounds
	MaxStale       = maxStale
	NonceUses      = nonceUses
)

var (
	SumMD5           = sumMD5
	ThroughEmptyLine = throughEmptyLine
)
