// A bot that is not Python: connections × packets of one recording each, as fast as they go.
// Usage: node client.js PORT CONNECTIONS PACKETS BYTES, with NODE_PATH where 'ws' is.
const WebSocket = require('ws');
const crypto = require('crypto');
const [port, connections, packets, bytes] = process.argv.slice(2).map(Number);

function payload(bot, number) {
  const one = crypto.createHash('sha256').update(`${bot}:${number}`).digest();
  return Buffer.alloc(bytes, one);
}

function play(bot) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/?bot=${bot}`);
    socket.on('error', reject);
    socket.on('close', resolve);
    socket.on('open', async () => {
      for (let number = 0; number < packets; number++) {
        const data = {
          data: {
            buffer: payload(bot, number).toString('base64'),
            timestamp: { relative: number / 50, absolute: '2025-01-01T00:00:00.123456Z' },
          },
          realtime_endpoint: { id: 'e', metadata: {} },
          recording: { id: `node-${bot}`, metadata: {} },
          bot: { id: 'b', metadata: {} },
          audio_mixed: { id: 'a', metadata: {} },
        };
        socket.send(JSON.stringify({ event: 'audio_mixed_raw.data', data }));
        if (socket.bufferedAmount > 1 << 20) await new Promise((go) => setTimeout(go, 1));
      }
      socket.close();
    });
  });
}

Promise.all([...Array(connections).keys()].map(play)).then(() => console.log('done'));
