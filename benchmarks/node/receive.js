// What Recall.ai's quickstart does with ws, and no more: parse, decode, append.
//   node receive.js DIRECTORY [log]
// With `log` it also prints each message twice, before and after parsing, as the quickstart does.
// The port goes to stderr, so that stdout is the log's alone.
'use strict';

const fs = require('node:fs');
const { WebSocketServer } = require('ws');

const [, , directory, flag] = process.argv;
const log = flag === 'log';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });

server.on('connection', (socket) => {
  socket.on('message', (message) => {
    if (log) console.log(message);
    try {
      const parsed = JSON.parse(message.toString());
      if (parsed.event === 'audio_mixed_raw.data') {
        if (log) console.log(parsed);
        const audio = Buffer.from(parsed.data.data.buffer, 'base64');
        fs.appendFileSync(`${directory}/${parsed.data.recording.id}.bin`, audio);
      }
    } catch (error) {
      console.error(error);
    }
  });
  socket.on('error', (error) => console.error(error));
});

server.on('listening', () => process.stderr.write(`${server.address().port}\n`));
