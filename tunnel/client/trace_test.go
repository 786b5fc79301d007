package client_test

import (
	"reflect"
	"slices"
	"testing"

	"culvert/tunnel/client"
)

// The hooks of both Traces are called, in order, whichever are set. The test covers each
// hook of Trace by reflection, so that a new one cannot be forgotten in Traces.
func TestTracesCallsBoth(t *testing.T) {
	var called []string
	hooks := reflect.TypeFor[client.Trace]()
	with := func(name string, hook int) *client.Trace {
		out := &client.Trace{}
		f := reflect.ValueOf(out).Elem().Field(hook)
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value {
			called = append(called, name)
			return nil
		}))
		return out
	}
	for i := range hooks.NumField() {
		for _, tt := range []struct {
			about string
			trace *client.Trace
			want  []string
		}{
			{"both", client.Traces(with("a", i), with("b", i)), []string{"a", "b"}},
			{"the first alone", client.Traces(with("a", i), &client.Trace{}), []string{"a"}},
			{"the second alone", client.Traces(&client.Trace{}, with("b", i)), []string{"b"}},
			{"no second", client.Traces(with("a", i), nil), []string{"a"}},
			{"no first", client.Traces(nil, with("b", i)), []string{"b"}},
			{"three", client.Traces(client.Traces(with("a", i), with("b", i)), with("c", i)), []string{"a", "b", "c"}},
			{"neither", client.Traces(&client.Trace{}, &client.Trace{}), nil},
		} {
			called = nil
			hook := reflect.ValueOf(tt.trace).Elem().Field(i)
			if hook.IsNil() != (tt.want == nil) {
				t.Errorf("%s, %s: set is %v", hooks.Field(i).Name, tt.about, !hook.IsNil())
				continue
			}
			if tt.want != nil {
				args := make([]reflect.Value, hook.Type().NumIn())
				for n := range args {
					args[n] = reflect.Zero(hook.Type().In(n))
				}
				hook.Call(args)
			}
			if !slices.Equal(called, tt.want) {
				t.Errorf("%s, %s: called %q, want %q", hooks.Field(i).Name, tt.about, called, tt.want)
			}
		}
	}
	if client.Traces(nil, nil) != nil {
		t.Error("of two that are nil there is one")
	}
}
