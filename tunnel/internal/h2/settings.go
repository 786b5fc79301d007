package h2

import (
	"fmt"
	"time"

	"golang.org/x/net/http2"
)

// Settings are the settings of the peer that matter here (RFC 9113, section 6.5.2).
type Settings struct {
	MaxStreams            int  // how many streams may be open at once
	InitialWindow         int  // the window of a new stream in bytes
	MaxHead               int  // the largest size of a field list in bytes; 0 = no limit is announced
	EnableConnectProtocol bool // RFC 8441
}

// sendSettings sends SETTINGS, and raises the window of the connection. The caller holds c.mu.
func (c *Conn) sendSettings() {
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.cfg.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.cfg.MaxHead)},
	}
	if c.client {
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.allowed)})
		if c.cfg.EnableConnectProtocol {
			settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		}
	}
	_ = c.framer.WriteSettings(settings...)
	c.observeSent(Frame{Type: http2.FrameSettings, Length: 6 * len(settings), Settings: settings})
	c.writeWindowUpdate(0, c.cfg.connWindow()-leastWindow)
}

// AllowAll lets the peer of a server have MaxStreams streams, if it had FirstStreams until
// now.
func (c *Conn) AllowAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client || c.dead || c.allowed == c.cfg.MaxStreams {
		return
	}
	c.allowed = c.cfg.MaxStreams
	setting := http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.allowed)}
	_ = c.framer.WriteSettings(setting)
	c.observeSent(Frame{Type: http2.FrameSettings, Length: 6, Settings: []http2.Setting{setting}})
	c.startWriting()
}

// gotSettings handles the SETTINGS of the peer, or its acknowledgement. The caller holds c.mu.
func (c *Conn) gotSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		c.acked = true
		c.settingsArrived()
		return nil
	}
	if !c.peerKnown {
		c.peer.MaxStreams = maxWindow // the default is no limit
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

// set applies one setting that is valid in itself. It only stores the window, which is
// applied after all settings: a frame may set it thousands of times.
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

// setInitialWindow changes the window of every stream by the difference, even to below
// zero (RFC 9113, section 6.9.2).
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

// settingsArrived ends SettingsTimeout if SETTINGS are exchanged and acknowledged.
func (c *Conn) settingsArrived() {
	if c.peerKnown && c.acked {
		c.settingsDue = time.Time{}
	}
}

// fits returns an error if a head is larger than the peer accepts.
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
