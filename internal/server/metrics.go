package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"consilium/internal/metrics"
	"consilium/internal/muxconn"
	"consilium/internal/portmux"
	"consilium/internal/tunnel"
	"consilium/signaling"
	"consilium/turn"
)

// registerMetrics registers what the parts count themselves. It asks them at
// each scrape, so it comes after all of them are made.
func (s *Server) registerMetrics() error {
	r := s.metrics
	s.registerCalls(r)
	registerSignaling(r, s.signals)
	registerMediaSocket(r, s.network.media)
	registerPorts(r, s.network.ports)
	if s.turn != nil {
		registerTURN(r, s.turn)
	}
	if s.tunnel != nil {
		registerTunnel(r, s.tunnel)
	}
	if s.recorder != nil {
		registerSpace(r, s.recorder)
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

func (s *Server) registerCalls(r *metrics.Registry) {
	r.GaugeFunc("consilium_calls", "Calls that are going on.", func() float64 { return float64(len(s.sfu.Calls())) })
	r.CounterMapFunc("consilium_media_dropped_total", "Media packets that were not forwarded, by reason.",
		"reason", s.sfu.Dropped)
}

func registerSignaling(r *metrics.Registry, s *signaling.Server) {
	gauge := func(name, help string, value func(signaling.Stats) int) {
		r.GaugeFunc(name, help, func() float64 { return float64(value(s.Stats())) })
	}
	counter := func(name, help string, value func(signaling.Stats) uint64) {
		r.CounterFunc(name, help, func() float64 { return float64(value(s.Stats())) })
	}
	gauge("consilium_signaling_sockets", "WebSockets that are open.", func(x signaling.Stats) int { return x.Sockets })
	gauge("consilium_signaling_sessions", "Sessions of web clients.", func(x signaling.Stats) int { return x.Sessions })
	gauge("consilium_signaling_media_sessions", "WHIP and WHEP sessions.", func(x signaling.Stats) int { return x.Media })
	counter("consilium_signaling_joins_total", "Web clients that joined.", func(x signaling.Stats) uint64 { return x.Joins })
	counter("consilium_signaling_rejoins_total", "Joins that continued a session.", func(x signaling.Stats) uint64 { return x.Rejoins })
	counter("consilium_signaling_resumes_total", "Sockets that took up a session.", func(x signaling.Stats) uint64 { return x.Resumes })
	counter("consilium_signaling_snapshots_total", "Resumes for which the replay was too short.", func(x signaling.Stats) uint64 { return x.Snapshots })
	counter("consilium_signaling_refused_total", "First messages that were refused.", func(x signaling.Stats) uint64 { return x.Refused })
	counter("consilium_signaling_refusals_untold_total", "Refusals without an event, because it would have been one of too many.", func(x signaling.Stats) uint64 { return x.RefusalsUntold })
	counter("consilium_signaling_slow_sockets_total", "Sockets cut because their client did not read.", func(x signaling.Stats) uint64 { return x.SlowSockets })
	counter("consilium_signaling_floods_total", "Sockets cut because their client sent too much.", func(x signaling.Stats) uint64 { return x.Floods })
	counter("consilium_signaling_notices_dropped_total", "Notices that a snapshot took the place of.", func(x signaling.Stats) uint64 { return x.NoticesDropped })
}

func registerMediaSocket(r *metrics.Registry, g *muxconn.Group) {
	r.CounterMapFunc("consilium_relay_datagrams_total", "Datagrams between the relay and the media socket.",
		"direction", func() map[string]uint64 {
			x := g.Stats()
			return map[string]uint64{"in": x.RelayIn, "out": x.RelayOut}
		})
	r.CounterMapFunc("consilium_relay_dropped_total", "Datagrams dropped at the media socket, by reason.",
		"reason", func() map[string]uint64 {
			x := g.Stats()
			return map[string]uint64{
				"forged": x.DroppedForged, "in_full": x.DroppedInFull, "out_full": x.DroppedOutFull,
				"not_sfu": x.DroppedNotSFU, "unknown_peer": x.DroppedUnknownPeer, "oversize": x.DroppedOversize,
			}
		})
}

func registerPorts(r *metrics.Registry, ports []*portmux.Mux) {
	sum := func(of func(portmux.Stats) map[string]uint64) func() map[string]uint64 {
		return func() map[string]uint64 {
			total := map[string]uint64{}
			for _, p := range ports {
				for name, n := range of(p.Stats()) {
					total[name] += n
				}
			}
			return total
		}
	}
	r.CounterMapFunc("consilium_tcp_connections_total", "TCP connections by what their first bytes were.",
		"kind", sum(func(x portmux.Stats) map[string]uint64 { return x.Sniffed }))
	r.CounterMapFunc("consilium_tls_connections_total", "TLS connections by what was inside.",
		"kind", sum(func(x portmux.Stats) map[string]uint64 { return x.InTLS }))
	r.CounterMapFunc("consilium_tcp_dropped_total", "TCP connections closed unserved, by reason.",
		"reason", sum(func(x portmux.Stats) map[string]uint64 { return x.Dropped }))
}

func registerTURN(r *metrics.Registry, t *turn.Server) {
	r.GaugeFunc("consilium_turn_connections", "TCP connections of TURN clients.",
		func() float64 { return float64(t.Stats().Connections) })
	r.GaugeFunc("consilium_turn_allocations", "Relays that are open.", func() float64 {
		open := 0
		for _, n := range t.Stats().Allocations {
			open += n
		}
		return float64(open)
	})
	r.GaugeFunc("consilium_turn_permissions", "Addresses of peers that relays may talk to.",
		func() float64 { return float64(t.Stats().Permissions) })
	r.GaugeFunc("consilium_turn_channels", "Channels of relays.",
		func() float64 { return float64(t.Stats().Channels) })
	r.CounterFunc("consilium_turn_allocations_total", "Relays that were opened.",
		func() float64 { return float64(t.Stats().Created) })
	r.CounterMapFunc("consilium_turn_bytes_total", "Bytes relayed, by direction.",
		"direction", func() map[string]uint64 {
			x := t.Stats()
			return map[string]uint64{"from_client": x.BytesFromClient, "to_client": x.BytesToClient}
		})
	r.CounterMapFunc("consilium_turn_denied_total", "TURN requests that were refused, by reason.",
		"reason", func() map[string]uint64 { return t.Stats().Denied })
	r.CounterMapFunc("consilium_turn_dropped_total", "Datagrams of TURN clients that were dropped, by reason.",
		"reason", func() map[string]uint64 { return t.Stats().Dropped })
}

func registerTunnel(r *metrics.Registry, t *tunnel.Server) {
	r.GaugeFunc("consilium_tunnels", "Sessions whose media goes through the WebSocket.",
		func() float64 { return float64(t.Stats().Open) })
	counter := func(name, help string, value func(tunnel.Stats) uint64) {
		r.CounterFunc(name, help, func() float64 { return float64(value(t.Stats())) })
	}
	counter("consilium_tunnels_total", "Tunnels that were opened.", func(x tunnel.Stats) uint64 { return x.Opened })
	counter("consilium_tunnels_resumed_total", "Media sockets that took over a tunnel.", func(x tunnel.Stats) uint64 { return x.TakenOver })
	counter("consilium_tunnels_refused_total", "Media sockets that were refused.", func(x tunnel.Stats) uint64 { return x.Refused })
	r.CounterMapFunc("consilium_tunnel_bytes_total", "Bytes of frames in tunnels, by direction.",
		"direction", func() map[string]uint64 {
			x := t.Stats()
			return map[string]uint64{"from_client": x.BytesFromPages, "to_client": x.BytesToPages}
		})
	r.CounterMapFunc("consilium_tunnel_frames_total", "Frames in tunnels, by direction.",
		"direction", func() map[string]uint64 {
			x := t.Stats()
			return map[string]uint64{"from_client": x.FramesFromPages, "to_client": x.FramesToPages}
		})
	r.CounterMapFunc("consilium_tunnel_dropped_total", "Frames in tunnels that were dropped, by reason.",
		"reason", func() map[string]uint64 { return t.Stats().Dropped })
}

// openMetrics opens the listener of metrics.address. Who may reach it is for
// the network to say: it asks nobody who he is.
func (s *Server) openMetrics() error {
	address := s.cfg.Metrics.Address
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("metrics.address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics)
	s.scrape = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, WriteTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.log.With("part", "metrics").Handler(), slog.LevelDebug),
	}
	s.scrapeListener = l
	return nil
}

// serveMetrics serves metrics.address until ctx is done.
func (s *Server) serveMetrics(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.scrape.Close() })
	defer stop()
	if err := s.scrape.Serve(s.scrapeListener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
