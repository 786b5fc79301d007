//go:build !unix

package serve

// notifyReload does nothing: there are no such signals.
func notifyReload(ReloadSignals) {}
