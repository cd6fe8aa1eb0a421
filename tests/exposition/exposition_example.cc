// exposition_example [ACCEPT]: prints the page that a client with this header gets.
#include <iostream>

#include "tests/exposition/example.h"

int main(int argc, char** argv) {
  outlier::Exposition exposition;
  outlier::examples::Fill(&exposition);
  std::cout << exposition.Render(argc > 1 ? argv[1] : "").body;
}
