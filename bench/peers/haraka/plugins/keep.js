// Accepts every recipient and keeps a message as config/keep_mode says:
// discard: not at all; file: a file for each; fsync: a file for each, synced before the 250.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

exports.register = function () {
    this.mode = this.config.get('keep_mode');
    this.directory = this.config.get('keep_directory');
};

exports.hook_rcpt = (next) => next(OK);

exports.hook_queue = function (next, connection) {
    const { message_stream, uuid } = connection.transaction;
    if (this.mode === 'discard') return next(OK);
    const file = fs.createWriteStream(path.join(this.directory, uuid), { flush: this.mode === 'fsync' });
    file.once('error', (error) => next(DENYSOFT, error.message));
    file.once('close', () => next(OK));
    message_stream.pipe(file);
};
