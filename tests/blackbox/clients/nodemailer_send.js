// Sends a message that nodemailer composes itself, then each file named, over one pooled connection.
//
// usage: nodemailer_send.js NODEMAILER HOST PORT FROM TO COMPOSED FILE...
// Writes the composed message to COMPOSED as nodemailer renders it, lines ended by CR LF; prints the server's reply to each, one a line.
'use strict';
const fs = require('node:fs');
const [modulePath, host, port, from, to, composed, ...files] = process.argv.slice(2);
const nodemailer = require(modulePath);

const message = {
  from: `"Sender, the first" <${from}>`,
  to,
  subject: 'Grüße: a subject that must be encoded',
  date: new Date(0),
  messageId: '<composed@client.example>',
  text: 'A first line\n.\n..a line with dots\n\nthe last line',
  html: '<p>A first line</p>',
  attachments: [{ filename: 'octets.bin', content: Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 256)) }],
};

async function main() {
  const render = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
  const composedText = (await render.sendMail(message)).message.toString('latin1');
  // Inside a text part the renderer keeps the LF it was given; the transport would make it CR LF.
  const rendered = Buffer.from(composedText.replace(/\r?\n/g, '\r\n'), 'latin1');
  fs.writeFileSync(composed, rendered);
  const transport = nodemailer.createTransport({
    pool: true, maxConnections: 1, host, port: Number(port), name: 'client.example', secure: false, ignoreTLS: true,
  });
  const envelope = { from, to };
  for (const raw of [rendered, ...files.map((file) => fs.readFileSync(file))]) {
    console.log((await transport.sendMail({ envelope, raw })).response);
  }
  transport.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
