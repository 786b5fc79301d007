//go:build linux

package splice

import "container/heap"

// timers is a heap of tunnels by the time at which their timers fire. Progress does not
// move a tunnel in it: when the timer fires and there was progress, it is set again.
type timers []*Tunnel

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due < h[j].due }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = int32(i), int32(j)
}

// Push implements heap.Interface.
func (h *timers) Push(x any) {
	t := x.(*Tunnel)
	t.timer = int32(len(*h))
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.timer = -1
	return t
}

// set sets the timer of t to due, in the loop's time.
func (h *timers) set(t *Tunnel, due int64) {
	t.due = due
	if t.timer < 0 {
		heap.Push(h, t)
	} else {
		heap.Fix(h, int(t.timer))
	}
}

// remove stops the timer of t.
func (h *timers) remove(t *Tunnel) {
	if t.timer >= 0 {
		heap.Remove(h, int(t.timer))
	}
}
