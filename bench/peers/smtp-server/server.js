// nodemailer's smtp-server as a sink: no TLS, no AUTH, no name lookups; the text is read and dropped.
'use strict';
const { SMTPServer } = require('smtp-server');

const server = new SMTPServer({
    name: 'mx.bench.example',
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    onData(stream, session, done) {
        stream.on('end', () => done(null, 'dropped'));
        stream.resume();
    }
});
server.on('error', () => {});
server.listen(Number(process.argv[2]), '127.0.0.1');
