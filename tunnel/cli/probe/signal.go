package probe

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// UntilSignal returns a context that the first SIGINT or SIGTERM cancels; a second one
// ends the program at once. stop, which must be called, releases the context and returns
// the signal that came, SIGINT if none did.
func UntilSignal(parent context.Context) (ctx context.Context, stop func() syscall.Signal) {
	ctx, cancel := context.WithCancel(parent)
	signals, by := make(chan os.Signal, 1), syscall.SIGINT
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case s := <-signals:
			by = s.(syscall.Signal)
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel()
	})
	return ctx, func() syscall.Signal {
		cancel()
		watching.Wait()
		return by
	}
}
