package h2

import (
	"fmt"
	"time"

	"golang.org/x/net/http2"
)

// Settings are the peer's, as far as they matter (RFC 9113, section 6.5.2).
type Settings struct {
	MaxStreams            int // how many streams we may open at once
	InitialWindow         int // bytes that may be under way on a new stream
	MaxHead               int // bytes of a field list; 0 = it did not say
	EnableConnectProtocol bool
}

// sendSettings sends ours, and raises the connection's window. c.mu is held.
func (c *Conn) sendSettings() {
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.cfg.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.cfg.MaxHead)},
	}
	if c.client {
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.cfg.MaxStreams)})
		if c.cfg.EnableConnectProtocol {
			settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		}
	}
	_ = c.framer.WriteSettings(settings...)
	c.observeSent(Frame{Type: http2.FrameSettings, Length: 6 * len(settings), Settings: settings})
	c.writeWindowUpdate(0, c.cfg.connWindow()-leastWindow)
}

// gotSettings takes the peer's SETTINGS, or its acknowledgement of ours.
func (c *Conn) gotSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		c.acked = true
		c.settingsArrived()
		return nil
	}
	if !c.peerKnown {
		c.peer.MaxStreams = maxWindow // what it does not limit is not limited
	}
	window := c.peer.InitialWindow
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return c.frameError(err)
		}
		return c.set(s, &window)
	})
	if err != nil {
		return err
	}
	if err := c.setInitialWindow(window); err != nil {
		return err
	}
	if !c.peerKnown {
		c.peerKnown = true
		c.settingsArrived()
	}
	c.changed.Broadcast()
	_ = c.framer.WriteSettingsAck()
	c.observeSent(Frame{Type: http2.FrameSettings, Flags: http2.FlagSettingsAck})
	return c.chargeAnswer()
}

// set takes one setting that is valid in itself. The window comes last: to go
// over all streams once for each of thousands would be work for nothing.
func (c *Conn) set(s http2.Setting, window *int) error {
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.SetMaxDynamicTableSize(min(s.Val, tableSize))
	case http2.SettingEnablePush:
		if c.client && s.Val != 0 {
			return violation(CodeProtocol, "a server that enables push") // RFC 9113, section 6.5.2
		}
	case http2.SettingMaxConcurrentStreams:
		c.peer.MaxStreams = int(min(s.Val, maxWindow))
	case http2.SettingInitialWindowSize:
		*window = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		c.peer.MaxHead = int(min(s.Val, maxWindow))
	case http2.SettingEnableConnectProtocol:
		if c.peer.EnableConnectProtocol && s.Val == 0 { // RFC 8441, section 3
			return violation(CodeProtocol, "extended CONNECT was announced and is taken back")
		}
		c.peer.EnableConnectProtocol = s.Val == 1
	}
	return nil
}

// setInitialWindow moves every stream's window by the difference, below zero
// too (RFC 9113, section 6.9.2).
func (c *Conn) setInitialWindow(window int) error {
	delta := window - c.peer.InitialWindow
	c.peer.InitialWindow = window
	if delta == 0 {
		return nil
	}
	for _, s := range c.streams {
		if s.sendWindow += delta; s.sendWindow > maxWindow {
			return violation(CodeFlowControl, "a stream's window passes 2^31-1")
		}
		s.enqueue()
	}
	return nil
}

// settingsArrived calls the timeout off when nothing more is due.
func (c *Conn) settingsArrived() {
	if c.peerKnown && c.acked {
		c.settingsDue = time.Time{}
	}
}

// fits says why a head cannot be sent: it is more than the peer wants.
func (c *Conn) fits(fields []Field) error {
	if c.peer.MaxHead == 0 {
		return nil
	}
	size := 0
	for _, f := range fields {
		size += int(f.Size())
	}
	if size > c.peer.MaxHead {
		return fmt.Errorf("the head of %d bytes is larger than the %d that the peer accepts", size, c.peer.MaxHead)
	}
	return nil
}
