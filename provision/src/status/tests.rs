mod board;
mod heard;
mod rounds;
mod tables;
