//go:build race

package tunnel

// underRace says that the race detector watches, and slows everything down.
const underRace = true
