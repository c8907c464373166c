// checkexport reads a copy that `daybook export` wrote with Go's own implementation of signed notes and transparency
// logs, and nothing of ours: the checkpoint's signature, every entry's leaf hash up to the signed root, every tile, the
// entries as lines, and every head of a day.
//
// The tree is computed from the entries. Tiles are compared with it and never read to compute it: TileHashReader of
// this version of the library takes tiles that it did not authenticate.
//
// Usage: checkexport DIR VKEY. Exit codes: 0 everything holds, 1 it does not, 2 usage or unreadable input.
// Source: C2SP tlog-checkpoint, tlog-tiles, tlog-proof; RFC 6962 §2.1. Not here: what entries mean.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// width is the number of entries of a full bundle, and of hashes of a full tile.
const width = 256

// stored holds all hashes of a tree in the order that tlog keeps them.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(s)) {
			return nil, fmt.Errorf("hash %d is beyond the tree", index)
		}
		hashes[i] = s[index]
	}
	return hashes, nil
}

// checkpoint is what a signed note says of a log.
type checkpoint struct {
	origin string
	tlog.Tree
}

func openCheckpoint(signed []byte, verifier note.Verifier) (checkpoint, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return checkpoint{}, errors.New("not origin, size and root")
	}
	if lines[0] != verifier.Name() {
		return checkpoint{}, fmt.Errorf("it is of the log %s, not of %s", lines[0], verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("%q is no size", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return checkpoint{}, err
	}
	return checkpoint{lines[0], tlog.Tree{N: size, Hash: root}}, nil
}

// tilePath names a tile as tlog-tiles does: without the height, and with entries for data.
func tilePath(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// linesPath names the lines beside a bundle.
func linesPath(bundle tlog.Tile) string {
	number := strings.TrimPrefix(tilePath(bundle), "tile/")
	if before, after, partial := strings.Cut(number, ".p/"); partial {
		return before + ".ndjson.p/" + after
	}
	return number + ".ndjson"
}

// splitBundle gives the entries of a bundle, each behind two bytes of length.
func splitBundle(data []byte) ([][]byte, error) {
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 {
			return nil, errors.New("it ends within a length")
		}
		length := int(binary.BigEndian.Uint16(data))
		data = data[2:]
		if len(data) < length {
			return nil, errors.New("it ends within an entry")
		}
		entries = append(entries, data[:length])
		data = data[length:]
	}
	return entries, nil
}

// readEntries hashes every entry of the bundles, and compares the lines beside them.
func readEntries(dir string, size int64) (stored, int, error) {
	var hashes stored
	bundles := 0
	for first := int64(0); first < size; first += width {
		count := size - first
		if count > width {
			count = width
		}
		bundle := tlog.Tile{H: 8, L: -1, N: first / width, W: int(count)}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(tilePath(bundle))))
		if err != nil {
			return nil, 0, err
		}
		entries, err := splitBundle(data)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", tilePath(bundle), err)
		}
		if int64(len(entries)) != count {
			return nil, 0, fmt.Errorf("%s: %d entries instead of %d", tilePath(bundle), len(entries), count)
		}
		lines, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(linesPath(bundle))))
		if err != nil {
			return nil, 0, err
		}
		if !bytes.Equal(lines, append(bytes.Join(entries, []byte("\n")), '\n')) {
			return nil, 0, fmt.Errorf("%s does not hold the entries of %s", linesPath(bundle), tilePath(bundle))
		}
		for i, entry := range entries {
			position := first + int64(i)
			if err := checkPosition(entry, position); err != nil {
				return nil, 0, err
			}
			more, err := tlog.StoredHashes(position, entry, hashes)
			if err != nil {
				return nil, 0, err
			}
			hashes = append(hashes, more...)
		}
		bundles++
	}
	return hashes, bundles, nil
}

func checkPosition(entry []byte, position int64) error {
	var says struct {
		Position int64 `json:"position"`
	}
	if err := json.Unmarshal(entry, &says); err != nil {
		return fmt.Errorf("position %d: %w", position, err)
	}
	if says.Position != position {
		return fmt.Errorf("position %d: the entry says %d", position, says.Position)
	}
	return nil
}

// tilesOf gives the tiles of a tree of that size, each at the width that it has there. NewTiles gives every width that a
// growing tree has on its way.
func tilesOf(size int64) []tlog.Tile {
	var tiles []tlog.Tile
	for _, tile := range tlog.NewTiles(8, 0, size) {
		if last := len(tiles) - 1; last >= 0 && tiles[last].L == tile.L && tiles[last].N == tile.N {
			tiles[last] = tile
		} else {
			tiles = append(tiles, tile)
		}
	}
	return tiles
}

// checkTiles compares every tile of the tree with what its entries give.
func checkTiles(dir string, size int64, hashes stored) (int, error) {
	tiles := tilesOf(size)
	for _, tile := range tiles {
		expected, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return 0, err
		}
		found, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(tilePath(tile))))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(expected, found) {
			return 0, fmt.Errorf("%s: its hashes are not those of the tree", tilePath(tile))
		}
	}
	return len(tiles), nil
}

// proof is a tlog-proof file.
type proof struct {
	extra  []byte
	index  int64
	hashes tlog.RecordProof
	signed []byte
}

func parseProof(file []byte) (proof, error) {
	head, signed, found := bytes.Cut(file, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return proof{}, errors.New("not a tlog-proof with extra data")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return proof{}, err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return proof{}, err
	}
	parsed := proof{extra: extra, index: index, signed: signed}
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return proof{}, err
		}
		parsed.hashes = append(parsed.hashes, hash)
	}
	return parsed, nil
}

// checkHead checks the head of a day: its own proof, and that this log has its roots.
func checkHead(path string, verifier note.Verifier, size int64, hashes stored) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, err := parseProof(file)
	if err != nil {
		return err
	}
	at, err := openCheckpoint(head.signed, verifier)
	if err != nil {
		return err
	}
	if at.N != head.index+1 || at.N > size {
		return fmt.Errorf("its checkpoint has the size %d, its entry the position %d, the log %d entries", at.N, head.index, size)
	}
	if err := tlog.CheckRecord(head.hashes, at.N, at.Hash, head.index, tlog.RecordHash(head.extra)); err != nil {
		return err
	}
	root, err := tlog.TreeHash(at.N, hashes)
	if err != nil {
		return err
	}
	if root != at.Hash {
		return fmt.Errorf("it has the root %s, the log at that size %s", at.Hash, root)
	}
	return checkDay(head, strings.TrimSuffix(filepath.Base(path), ".tlog-proof"), hashes)
}

// checkDay checks what the closing entry of a day says of the tree.
func checkDay(head proof, date string, hashes stored) error {
	var entry struct {
		EventType string `json:"event_type"`
		Payload   struct {
			Date string `json:"date"`
			Size int64  `json:"size"`
			Root string `json:"root"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(head.extra, &entry); err != nil {
		return err
	}
	day := entry.Payload
	if entry.EventType != "DayClosed" || day.Date != date || day.Size != head.index {
		return fmt.Errorf("it is %s of %s at size %d", entry.EventType, day.Date, day.Size)
	}
	root, err := tlog.TreeHash(day.Size, hashes)
	if err != nil {
		return err
	}
	if root.String() != day.Root {
		return fmt.Errorf("the day ends with the root %s, the log at that size has %s", day.Root, root)
	}
	return nil
}

func check(dir string, verifier note.Verifier) (string, error) {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	latest, err := openCheckpoint(signed, verifier)
	if err != nil {
		return "", fmt.Errorf("checkpoint: %w", err)
	}
	hashes, bundles, err := readEntries(dir, latest.N)
	if err != nil {
		return "", err
	}
	root, err := tlog.TreeHash(latest.N, hashes)
	if err != nil {
		return "", err
	}
	if root != latest.Hash {
		return "", fmt.Errorf("the entries have the root %s, the checkpoint says %s", root, latest.Hash)
	}
	tiles, err := checkTiles(dir, latest.N, hashes)
	if err != nil {
		return "", err
	}
	heads, err := filepath.Glob(filepath.Join(dir, "heads", "*", "*.tlog-proof"))
	if err != nil {
		return "", err
	}
	for _, head := range heads {
		if err := checkHead(head, verifier, latest.N, hashes); err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Base(head), err)
		}
	}
	said := fmt.Sprintf("%s: %d entries, %d bundles, %d tiles, %d heads", latest.origin, latest.N, bundles, tiles, len(heads))
	return said, nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: checkexport DIR VKEY")
		os.Exit(2)
	}
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkexport: the key:", err)
		os.Exit(2)
	}
	said, err := check(os.Args[1], verifier)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkexport:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}
