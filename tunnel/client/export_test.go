package client

// What the external tests reach of this package's insides.
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
