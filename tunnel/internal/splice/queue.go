//go:build linux

package splice

// queue is a list of tunnels, first in, first out. A tunnel is in it at most once.
type queue struct {
	first, last *Tunnel
	len         int
}

func (q *queue) push(t *Tunnel) {
	if t.queued {
		return
	}
	t.queued = true
	if q.len++; q.first == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

func (q *queue) pop() *Tunnel {
	t := q.first
	q.first, t.next, t.queued = t.next, nil, false
	q.len--
	return t
}
