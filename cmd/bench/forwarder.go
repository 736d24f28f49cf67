package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/metrics"
)

// maxOffer bounds an offer's body.
const maxOffer = 1 << 18

// forwarder is the shortest way from one WHIP publisher to WHEP players with
// what Pion gives: default codecs, default interceptors, a socket for each
// PeerConnection, TrackLocalStaticRTP. It has one room and no tokens. It is
// what Consilium is compared with; with a tap it only receives.
type forwarder struct {
	api     *webrtc.API
	metrics *metrics.Registry
	tap     func(*rtp.Packet) // nil: forward

	wg sync.WaitGroup // readers of tracks and of RTCP

	mu     sync.Mutex
	peers  []*webrtc.PeerConnection
	tracks []*webrtc.TrackLocalStaticRTP // of the publisher
}

func newForwarder(tap func(*rtp.Packet)) (*forwarder, error) {
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	f := &forwarder{metrics: metrics.New(), tap: tap}
	f.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	metrics.RegisterRuntime(f.metrics)
	return f, nil
}

// runReference is the process that is measured as Pion's defaults.
func runReference(ctx context.Context, stdout io.Writer) error {
	f, err := newForwarder(nil)
	if err != nil {
		return err
	}
	base, stop, err := f.listen()
	if err != nil {
		return err
	}
	defer stop()
	if _, err := fmt.Fprintf(stdout, "forwarder: %s\n", base); err != nil {
		return fmt.Errorf("say the address: %w", err)
	}
	<-ctx.Done()
	return nil
}

// listen serves on a port of the kernel's choice until stop is called, which
// waits for everything.
func (f *forwarder) listen() (base string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip/{room}", f.whip)
	mux.HandleFunc("POST /whep/{room}/{identity}", f.whep)
	mux.HandleFunc("DELETE /session", func(http.ResponseWriter, *http.Request) {}) // closed by stop
	mux.Handle("GET /metrics", f.metrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	f.wg.Go(func() { _ = server.Serve(l) }) // ends by Close
	return "http://" + l.Addr().String(), func() {
		_ = server.Close()
		f.mu.Lock()
		peers := f.peers
		f.peers = nil
		f.mu.Unlock()
		for _, pc := range peers {
			_ = pc.GracefulClose()
		}
		f.wg.Wait()
	}, nil
}

// whip takes the publisher.
func (f *forwarder) whip(w http.ResponseWriter, r *http.Request) {
	var tracks []*webrtc.TrackLocalStaticRTP
	for _, mime := range []string{webrtc.MimeTypeOpus, webrtc.MimeTypeVP8} {
		kind, _, _ := strings.Cut(mime, "/")
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, kind, "publisher")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		tracks = append(tracks, track)
	}
	f.mu.Lock()
	f.tracks = tracks
	f.mu.Unlock()
	f.answer(w, r, func(pc *webrtc.PeerConnection) error {
		pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			for _, local := range tracks {
				if local.Kind() == remote.Kind() {
					f.read(remote, local)
				}
			}
		})
		return nil
	})
}

// read forwards, or taps, a track until it ends.
func (f *forwarder) read(remote *webrtc.TrackRemote, local *webrtc.TrackLocalStaticRTP) {
	buf := make([]byte, 1500)
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return
		}
		if f.tap != nil {
			var packet rtp.Packet
			if packet.Unmarshal(buf[:n]) == nil {
				f.tap(&packet)
			}
			continue
		}
		if _, err := local.Write(buf[:n]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

// whep adds a player.
func (f *forwarder) whep(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	tracks := f.tracks
	f.mu.Unlock()
	f.answer(w, r, func(pc *webrtc.PeerConnection) error {
		for _, track := range tracks {
			sender, err := pc.AddTrack(track)
			if err != nil {
				return fmt.Errorf("add track: %w", err)
			}
			// Interceptors see RTCP only when somebody reads it.
			f.wg.Go(func() {
				buf := make([]byte, 1500)
				for {
					if _, _, err := sender.Read(buf); err != nil {
						return
					}
				}
			})
		}
		return nil
	})
}

// answer makes a PeerConnection of an offer; prepare completes it before.
func (f *forwarder) answer(w http.ResponseWriter, r *http.Request, prepare func(*webrtc.PeerConnection) error) {
	offer, err := io.ReadAll(io.LimitReader(r.Body, maxOffer))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pc, err := f.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.mu.Lock()
	f.peers = append(f.peers, pc)
	f.mu.Unlock()
	answer, err := negotiate(r.Context(), pc, string(offer), prepare)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", "/session")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer) // a client that has gone can't be told
}

func negotiate(ctx context.Context, pc *webrtc.PeerConnection, offer string, prepare func(*webrtc.PeerConnection) error) (string, error) {
	if err := prepare(pc); err != nil {
		return "", err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("set offer: %w", err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("set answer: %w", err)
	}
	select {
	case <-gathered:
		return pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
