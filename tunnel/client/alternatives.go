package client

import (
	"context"
	"slices"
	"strings"

	"culvert/tunnel"
)

// routes returns the Client's routes, in the order in which they are tried.
func (c *Client) routes() []tunnel.Route { return append([]tunnel.Route{c.Route}, c.Or...) }

// Along returns a copy of the Client that has only one of its routes: 0 is Route, 1
// and up are those of Or. The copy uses the Client's connections. A
// Proxy-Authorization in Header is for the proxy of the first route, so the copy for
// another route lacks it.
func (c *Client) Along(i int) *Client {
	along := c.sharing()
	along.Route, along.Or = c.routes()[i], nil
	if i > 0 {
		along.Header = slices.DeleteFunc(slices.Clone(c.Header), func(f Field) bool { return strings.EqualFold(f.Name, "Proxy-Authorization") })
	}
	return along
}

// openAny opens a tunnel along the first route that leads to the target. If none
// does, it returns the failure of the last one; Trace.Abandoned is called with the
// others.
func (c *Client) openAny(ctx context.Context, target tunnel.Authority, extra []Field) (*Conn, *tunnel.Error) {
	for i := range c.routes() { // all of them before anything is sent
		if err := c.Along(i).check(target, extra); err != nil {
			return nil, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Target: target, Detail: err.Error()}
		}
	}
	for i, next := range c.Or {
		along := c.Along(i)
		conn, e := along.open(ctx, target, extra)
		if e == nil || !e.OtherRouteMayWork() || ctx.Err() != nil {
			return conn, e
		}
		if t := c.Trace; t != nil && t.Abandoned != nil {
			t.Abandoned(along.Route, e, next)
		}
	}
	return c.Along(len(c.Or)).open(ctx, target, extra)
}
