package server

import (
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// unrecorded is the recording of a call that leaves no trace: a device testing
// its own paths to the server.
type unrecorded struct{}

func (unrecorded) Track(media.Track, func()) media.Sink { return unheard{} }
func (unrecorded) Note(event.Event)                     {}
func (unrecorded) End(time.Time)                        {}

// unheard is the sink of such a call's tracks.
type unheard struct{}

func (unheard) WritePacket(*media.Packet)            {}
func (unheard) WriteSenderReport(media.SenderReport) {}
func (unheard) SetMuted(bool, time.Time)             {}
func (unheard) End(media.EndReason, time.Time)       {}
