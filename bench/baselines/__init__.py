"""What Afterspin is compared with: each the same work, done another way, as well as we could."""
